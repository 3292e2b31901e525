"""What is made of finished runs: read, judged, compared. Nothing here imports torch."""
