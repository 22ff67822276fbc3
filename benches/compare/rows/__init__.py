"""The rows, in the order of the table."""
from . import batch_query, ip_query, restart, syslog_tcp, syslog_udp, visible

ALL = [syslog_tcp, syslog_udp, ip_query, batch_query, visible, restart]
