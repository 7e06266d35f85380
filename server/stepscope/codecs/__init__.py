"""Wire value <-> array, as pure functions. Imports only core, numpy and the image decoders."""
