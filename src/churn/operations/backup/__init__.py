"""Back-up and restore of an environment: its models, its results, its data and its settings.

A backup is a folder, or a prefix in a bucket, with the files as they are and a manifest with their hashes, which is written last.
"""

from churn.operations.backup.places import Places, places_of
from churn.operations.backup.restoring import check, restore
from churn.operations.backup.steps import Restored
from churn.operations.backup.writing import BACKUPS, Written, back_up

__all__ = ["BACKUPS", "Places", "Restored", "Written", "back_up", "check", "places_of", "restore"]
