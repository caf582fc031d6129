"""The heads side by side: a PointNet that learns the orientation of airplanes with each of them."""
