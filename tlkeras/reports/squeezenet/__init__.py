"""Report 000: 5,130, 391,306 or 727,626 trainable parameters of SqueezeNet on CIFAR-10."""
