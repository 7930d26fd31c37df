"""The state of a project: champion, last run, scores, alarms and disks, read without starting anything."""
