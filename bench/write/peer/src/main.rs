//! Saves a model with the Rust crate, as often as it is told to.
//!
//! Each line on stdin is a path; the answer is how many nanoseconds saving took,
//! and how many with an fsync of the file after it.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use safetensors::tensor::{serialize_to_file, Dtype, TensorView};

const TENSOR: usize = 4 << 20;
const TENSORS: usize = 512;
const DIFFERENT: usize = 64; // in memory

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data: Vec<u8> = (0..DIFFERENT * TENSOR).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let path = line?;
        let views: Vec<_> = (0..TENSORS)
            .map(|i| {
                let at = i % DIFFERENT * TENSOR;
                let view = TensorView::new(Dtype::F32, vec![1024, 1024], &data[at..at + TENSOR]);
                Ok((format!("layers.{i}.weight"), view?))
            })
            .collect::<Result<_, safetensors::SafeTensorError>>()?;
        let start = Instant::now();
        serialize_to_file(views, None, path.as_ref())?;
        let plain = start.elapsed().as_nanos();
        File::open(&path)?.sync_all()?;
        writeln!(output, "{plain} {}", start.elapsed().as_nanos())?;
        output.flush()?;
    }
    Ok(())
}
