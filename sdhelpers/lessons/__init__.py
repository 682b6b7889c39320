"""What one notebook alone needs: written there by hand first, kept here."""
