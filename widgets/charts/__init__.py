"""Line charts: curves over steps, with axes, guides and marks."""
