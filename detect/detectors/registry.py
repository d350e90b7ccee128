"""The detectors by name; nothing heavy is imported until one is fitted or loaded.

A name that ends with a colon stands for a family: `timm:resnet18`, `probe:facenet`, `mean:xception+dct`.
"""

from __future__ import annotations

from forge.core.registry import Registry

DETECTORS = Registry(
    "detector",
    "detect.detectors",
    {
        # networks
        "xception": "detect.detectors.image_classifiers:Xception",
        "resnet50": "detect.detectors.resnet50:ResNet50",
        "resnet50-nodown": "detect.detectors.resnet50:ResNet50NoDown",
        "efficientnet-b0": "detect.detectors.image_classifiers:EfficientNetB0",
        "convnext-tiny": "detect.detectors.image_classifiers:ConvNextTiny",
        "mobilenetv3": "detect.detectors.image_classifiers:MobileNetV3",
        "timm:": "detect.detectors.timm_network:timm_named",
        "meso4": "detect.detectors.meso:Meso4",
        "mesoinception4": "detect.detectors.meso:MesoInception4",
        "patch-forensics": "detect.detectors.patch_forensics:PatchForensics",
        "gramnet": "detect.detectors.gramnet:GramNet",
        "npr": "detect.detectors.npr:Npr",
        "ferretnet": "detect.detectors.ferretnet:FerretNet",
        "safe": "detect.detectors.safe:Safe",
        "tiny-ladeda": "detect.detectors.tiny_ladeda:TinyLadeda",
        "capsule": "detect.detectors.capsule:Capsule",
        "deepfakebench-xception": "detect.detectors.deepfakebench:BenchXception",
        "deepfakebench-efficientnet-b4": "detect.detectors.deepfakebench:BenchEfficientNetB4",
        "self-blended": "detect.detectors.self_blended:SelfBlendedDetector",
        # localisers: where an image was altered, and so whether
        "unet": "detect.detectors.unet:UNetLocaliser",
        "classnseg": "detect.detectors.classnseg:ClassNSeg",
        "noise-map": "detect.detectors.noise_map:NoiseMap",
        "copy-move-match": "detect.detectors.copy_move_match:CopyMoveMatch",
        "face-x-ray": "detect.detectors.self_blended:FaceXRay",
        # a generator's discriminator
        "disc-raw": "detect.detectors.disc_raw:RawDiscriminator",
        "disc-probe": "detect.detectors.disc_probe:DiscProbe",
        "disc-probe-scratch": "detect.detectors.disc_probe:RandomProbe",
        "disc-finetune": "detect.detectors.discriminator:FineTuned",
        "disc-scratch": "detect.detectors.discriminator:FromScratch",
        "disc-ensemble": "detect.detectors.disc_raw:SnapshotEnsemble",
        "disc-gradient": "detect.detectors.disc_gradient:InputGradients",
        # frequencies
        "dct": "detect.detectors.dct:LogDct",
        "dct-cnn": "detect.detectors.dct_cnn:DctCnn",
        "spectrum": "detect.detectors.spectrum:AzimuthalSpectrum",
        "f3net": "detect.detectors.f3net:F3Net",
        "spsl": "detect.detectors.spsl:Spsl",
        "freqnet": "detect.detectors.freqnet:FreqNet",
        # classical
        "logistic": "detect.detectors.classical:Logistic",
        "svm": "detect.detectors.classical:Svm",
        "naive-bayes": "detect.detectors.classical:NaiveBayes",
        "hmm": "detect.detectors.hmm:StripHmm",
        # frozen embeddings
        "probe:": "detect.detectors.probe:probe_of",
        "clip-probe": "detect.detectors.probe:ClipProbe",
        "univfd": "detect.detectors.clip_heads:Univfd",
        "rine": "detect.detectors.clip_heads:Rine",
        "tune:": "detect.detectors.tune:tuned",
        # several together
        "mean:": "detect.detectors.mean:mean_of",
        # controls
        "random": "detect.detectors.controls:Random",
        "metadata": "detect.detectors.controls:Metadata",
        "trivial-cues": "detect.detectors.controls:TrivialCues",
    },
)

EXAMPLES = {  # of the names that end with a colon, for lists
    "mean:": "mean:xception+dct",
    "probe:": "probe:resnet50",
    "timm:": "timm:resnet18",
    "tune:": "tune:vit_small_patch14_dinov2",
}
