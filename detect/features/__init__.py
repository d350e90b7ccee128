"""Features of images: spectra, DCT, residuals, traces of JPEG; pure functions of image batches."""
