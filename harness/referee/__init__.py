"""Other people's training scripts as arms: run in pairs, checked for fairness, judged."""
