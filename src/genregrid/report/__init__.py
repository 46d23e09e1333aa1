"""What a run leaves behind: tables on disk and on screen, the leaderboard, and the W&B dashboard."""
