"""The rows, in the order of the table. First those that need no table full of sessions: it stays until the end."""
from . import batch_query, event_log, ip_query, restart, syslog_tcp, syslog_udp, visible

ALL = [syslog_tcp, syslog_udp, event_log, ip_query, batch_query, visible, restart]
