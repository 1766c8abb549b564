"""Where finished work is kept, always within a bound in bytes."""
