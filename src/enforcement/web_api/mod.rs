//! Pushing to firewalls that do not ask, by the Web API of Junos.
