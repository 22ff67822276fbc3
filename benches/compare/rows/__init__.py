"""The rows, in the order of the table. First those that need no table full of sessions: it stays until the end."""
from . import (batch_query, event_log, first_read, growth, ip_query, limits, memberships, memory, pc_probes, restart, syslog_tcp,
               syslog_udp, table_speed, visible)

ALL = [limits, syslog_tcp, syslog_udp, event_log, pc_probes, first_read, table_speed, memory, memberships, growth, ip_query, batch_query,
       visible, restart]
