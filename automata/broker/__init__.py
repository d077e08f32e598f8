"""Wake-ups. Carries ids, never facts."""
