"""From the student to what runs in production: ONNX, quantisation, TensorRT engines, each checked."""
