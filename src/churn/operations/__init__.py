"""Running the project: the watch that trains and scores by itself, notifications, and the commands of the images."""
