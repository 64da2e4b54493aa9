"""Many runs at once: compared, repeated over seeds, searched. Everything here works on ordinary runs and imports no torch."""
