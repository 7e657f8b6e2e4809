"""Application Auto Scaling, for services of ECS."""
