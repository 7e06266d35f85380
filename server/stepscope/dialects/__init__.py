"""Wire shapes <-> engine calls, a module for each dialect. No HTTP and no sockets here, and no dialect imports another."""
