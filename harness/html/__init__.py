"""The report: the card's cells as one HTML file that needs nothing else, and the same page live.

What is drawn and said comes from `harness.report`; here it becomes a page for people.
"""
