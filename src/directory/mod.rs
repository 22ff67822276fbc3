//! Directory services: LDAP or LDIF in, directory batches out.
