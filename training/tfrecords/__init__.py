"""Clips as tfrecords, laid out as the published tools do."""
