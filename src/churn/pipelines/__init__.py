"""The five pipelines of the project, one package each."""
