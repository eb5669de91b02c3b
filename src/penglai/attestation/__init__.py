"""What both sides of an attestation compute alike: measurements, signatures, reports.  Pure functions."""
