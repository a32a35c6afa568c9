"""Ready compositions of forecast, policy and allocator, a page each."""
