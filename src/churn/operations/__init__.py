"""Operation: the trigger that starts training and scoring, notifications, and the commands of the images."""
