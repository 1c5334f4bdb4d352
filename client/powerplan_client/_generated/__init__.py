"""Generated from proto/powerplan/v1. Do not edit."""
