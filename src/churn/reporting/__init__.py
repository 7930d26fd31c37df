"""Pages and pictures for people: the health report, the model card, plots, and the templates of both pages."""
