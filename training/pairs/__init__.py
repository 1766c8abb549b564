"""`orthosharp-train pairs`: registered chips of two photographs of the same ground."""
