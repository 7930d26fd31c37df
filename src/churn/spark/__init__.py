"""The steps of the pipelines on Spark frames; imported only in runs that load such frames."""
