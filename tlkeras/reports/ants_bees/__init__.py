"""Report 004: four ways to transfer AlexNet and VGG16 to ants and bees, ROC AUC and training time."""
