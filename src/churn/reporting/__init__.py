"""Reports: the health report and the model card as HTML pages, their templates, and plots."""
