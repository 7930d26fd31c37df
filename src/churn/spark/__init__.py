"""The steps of the pipelines on Spark frames. Nothing here is imported before a run has one."""
