"""Reports: what the history and the evidence come to, for a day, a week or a month. Pure."""
