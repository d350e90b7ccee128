"""What detectors look at: spectra, DCT, residuals; pure functions of image batches."""
