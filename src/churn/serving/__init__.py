"""The scoring service `churn serve`: scores of a few accounts over HTTP, from the champion that is in use now.

`churn.serving.project` takes its settings from a Kedro project, `churn.serving.server` runs its processes, and
`churn.serving.application` answers requests. The other modules have one concern each.
"""
