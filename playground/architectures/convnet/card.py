"""The ConvNet's card: what the command line and the screen know of it. Imports no torch."""

from __future__ import annotations

from dlplay.architectures.convnet.presets import PRESETS
from dlplay.architectures.convnet.settings import Cell, ConvNetSettings, FeatureMaps, LayerKernels, Nudge, SaliencyTarget
from dlplay.engine import stages
from dlplay.engine.card import Card, ChartCard, PanelCard
from dlplay.parts.image_options import HeldOutImage, InputImage

card = Card(
    name="convnet",
    title="ConvNet",
    summary="Classify images with convolutions, and draw your own digits for it to read.",
    settings=ConvNetSettings,
    task="dlplay.architectures.convnet.task:ConvNetTask",
    metric="test_accuracy",
    better="higher",
    order=10,
    charts=(
        ChartCard("Loss", train=("train_loss",), held_out=("test_loss",), log=True),
        ChartCard("Accuracy", train=("train_accuracy",), held_out=("test_accuracy",), percent=True),
    ),
    panels=(
        PanelCard(
            "probabilities",
            "Class probabilities",
            "The softmax over the classes for the selected image or drawing.",
            "A network can be confident and wrong: look at the worst mistakes. A drawing is first scaled and centred like the training "
            "images; the panel Input shows the result.",
            InputImage,
            rows=10,
        ),
        PanelCard(
            "forward",
            "Forward pass",
            "From the image through the feature maps of each layer to the softmax.",
            "Every stroke runs through the whole network. Erase a part of the image and see which maps go dark.",
            InputImage,
            rows=8,
        ),
        PanelCard(
            "kernels",
            "Kernels",
            "Weights: orange is positive, blue negative.",
            "Without colours, cells of = or - are negative. One kernel for each output channel. They begin as noise; edge and spot "
            "detectors emerge in the first layer. Deeper layers have a kernel for each input channel as well: choose the channel.",
            LayerKernels,
            rows=20,
        ),
        PanelCard(
            "maps",
            "Feature maps",
            "The output of each channel of a layer: high where the image matches its kernel.",
            "Taken from the forward pass of the selected image or drawing: after the convolution, the activation, the pooling "
            "or a residual branch.",
            FeatureMaps,
        ),
        PanelCard(
            "cell",
            "One cell",
            "How one number of a feature map comes about: window times kernel, summed.",
            "The window of the layer's input, the kernel, and their product, for the input channel that adds most. The sum over all input "
            "channels is the number that the convolution writes into the cell. Every cell of the map uses the same kernel.",
            Cell,
            rows=8,
        ),
        PanelCard(
            "receptive_field",
            "Receptive field",
            "No pixel outside can change the cell. Bright: changes it most.",
            "All that a cell of a feature map is computed from, followed back through the windows of every layer; what it cannot see is "
            "hatched. Within, the absolute gradient of the cell's number with respect to each pixel, the largest over the colours: the "
            "effective receptive field (Luo et al., 2016). Choose a deeper layer: the field grows by a window, and doubles where maps are "
            "pooled.",
            Cell,
            rows=8,
        ),
        PanelCard(
            "saliency",
            "Saliency",
            "The pixels that a class's logit is most sensitive to.",
            "The absolute gradient of the logit with respect to the input, the largest over the colours (Simonyan et al., 2013). It shows "
            "what the network is sensitive to, not why it decided so.",
            SaliencyTarget,
            rows=8,
        ),
        PanelCard(
            "grad_cam",
            "Grad-CAM",
            "Where the last layer's maps speak for a class.",
            "The last layer's maps after their activation, each weighted by the mean gradient of the class's logit with respect to it, "
            "summed, and cut at 0 (Selvaraju et al., 2017). Its resolution is that of the last layer.",
            SaliencyTarget,
            rows=8,
        ),
        PanelCard(
            "adversarial",
            "Adversarial example",
            "Every pixel moved a little, so that the predicted class loses most, and what the network says then.",
            "One step of the fast gradient sign method (Goodfellow et al., 2015): each pixel moves by the same small amount, along the "
            "sign of the gradient of the loss, here that of the predicted class. A person hardly sees it. The gradient is that at this "
            "image: a large step may even lower the loss.",
            Nudge,
            rows=8,
        ),
        PanelCard(
            "confusion",
            "Confusion matrix",
            "Row: true class. Column: predicted class. Mistakes are off the diagonal.",
            "Counts over the held-out images. Look at pairs: if 8 is taken for 1, is 1 taken for 8 as well?",
            rows=11,
        ),
        PanelCard(
            "mistakes",
            "Worst mistakes",
            "Misclassified images, the lowest probability of the true class first; select one to inspect it.",
            "True class, predicted class and the predicted class's probability. Some of them are hard for people as well; some are "
            "mislabelled.",
            selects="image",
        ),
        PanelCard(
            "images",
            "Held-out images",
            "Images that are never trained on, with their labels; select one to inspect it.",
            "The page of held-out images with the selected one. A cross marks those that are misclassified at the moment.",
            HeldOutImage,
            selects="image",
        ),
        PanelCard(
            "input",
            "Input",
            "The pixels that the network receives, before normalisation.",
            "A held-out image, or your drawing scaled and centred like the training images.",
            InputImage,
            rows=8,
        ),
        PanelCard(
            "norms",
            "Weight and gradient norms",
            "For each layer: the norms of its weights and of their gradient, on a log scale.",
            "The gradient of the loss on 64 fixed training images, without dropout. It vanishes when it shrinks from the last layer to the "
            "first; when it grows step by step the loss will soon not be finite.",
            rows=6,
        ),
    ),
    stage=stages.Pad(panel="probabilities", option="drawing", size=(16, 16), shows="input", below=("forward",)),
    presets=PRESETS,
    search=("lr=1e-4..1e-1:log", "channels=8,16/16,32,64"),
)
