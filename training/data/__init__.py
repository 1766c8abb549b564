"""Pairs as training reads them: the manifest, crops, ageing and augmentation."""
