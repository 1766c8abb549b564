"""The photograph: opened, described, and warped onto any grid."""
