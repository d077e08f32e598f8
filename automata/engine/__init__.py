"""What happens next. Pure: `now` is an argument."""
