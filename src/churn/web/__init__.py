"""What the services over HTTP have in common: limits of connections, sockets, regular looks, and the form of the log."""
