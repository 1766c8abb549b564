"""A georeferenced photograph: opened, described, fingerprinted, and warped to any grid."""
