//! The Server that firewalls ask: tokens, queries, cookies, shapes.
