"""Wire shapes <-> engine calls, a module for each dialect. No HTTP, no sockets; no dialect imports another."""
