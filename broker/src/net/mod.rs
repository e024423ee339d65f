//! Sockets: connections, their requests in order, and what is sent straight from a file.
