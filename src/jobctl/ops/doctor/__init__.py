"""The doctor: named checks of all that jobctl rests on. One module a theme, one small function a check."""
