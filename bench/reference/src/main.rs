//! Answers questions about safetensors files with the reference implementation.
//!
//! Questions come on stdin and answers go to stdout, one for one and in order,
//! each as a little-endian u64 length and that many bytes.
//!
//! | command       | a question is                    | its answer is |
//! |---------------|----------------------------------|---------------|
//! | `read`        | a whole file                     | JSON: what the file holds, or why not |
//! | `write`       | JSON like a line of writer.jsonl | the file; empty if the crate refuses |
//! | `time FILE`   | `deserialize N` or `tensor N`    | nanoseconds, in decimal |
//!
//! `read` answers `{"metadata", "data_start", "tensors"}` as in dumps.jsonl, or
//! `{"kind", "tensor"}` as in headers.tsv, the tensor being null unless the kind
//! names one.
//!
//! `time` has FILE in memory and answers with the median of N runs: of
//! `deserialize` on the whole file, its result dropped after the clock has
//! stopped, or of one `tensor(name)`, over all names in bytewise order.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::time::Instant;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::Deserialize;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["read"] => serve(|file| Ok(serde_json::to_vec(&read(file))?)),
        ["write"] => serve(write),
        ["time", path] => {
            let file = std::fs::read(path)?;
            serve(|question| time(&file, std::str::from_utf8(question)?))
        }
        _ => Err("usage: reference read | write | time FILE".into()),
    }
}

/// Answers the questions on stdin until it ends.
fn serve(mut answer: impl FnMut(&[u8]) -> Result<Vec<u8>>) -> Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    let mut question = Vec::new();
    loop {
        // Whoever asks may wait for the answer before asking again.
        if input.buffer().is_empty() {
            output.flush()?;
        }
        let mut length = [0; 8];
        match input.read_exact(&mut length) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(output.flush()?),
            result => result?,
        }
        question.resize(u64::from_le_bytes(length) as usize, 0);
        input.read_exact(&mut question)?;
        let answer = answer(&question)?;
        output.write_all(&(answer.len() as u64).to_le_bytes())?;
        output.write_all(&answer)?;
    }
}

fn read(file: &[u8]) -> serde_json::Value {
    let (n, metadata) = match SafeTensors::read_metadata(file) {
        Ok(read) => read,
        Err(SafeTensorError::InvalidOffset(name)) => return json!({"kind": "InvalidOffset", "tensor": name}),
        Err(e) => return json!({"kind": kind(&e), "tensor": null}),
    };
    let mut tensors: Vec<_> = metadata.tensors().into_iter().collect();
    tensors.sort_by_key(|(name, info)| (info.data_offsets, name.clone()));
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, info)| {
            let (begin, end) = info.data_offsets;
            json!({"name": name, "dtype": info.dtype, "shape": info.shape, "begin": begin, "end": end})
        })
        .collect();
    json!({"metadata": metadata.metadata(), "data_start": n + 8, "tensors": tensors})
}

/// The name of the variant, which is what its debug form begins with.
fn kind(e: &SafeTensorError) -> String {
    let debug = format!("{e:?}");
    debug.split('(').next().unwrap_or_default().to_string()
}

#[derive(Deserialize)]
struct File {
    metadata: Option<HashMap<String, String>>,
    tensors: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: String,
}

fn write(question: &[u8]) -> Result<Vec<u8>> {
    let file: File = serde_json::from_slice(question)?;
    let data = file.tensors.iter().map(|t| unhex(&t.data)).collect::<Result<Vec<_>>>()?;
    let views = file.tensors.into_iter().zip(&data).map(|(t, d)| Ok((t.name, TensorView::new(t.dtype, t.shape, d)?)));
    let views = views.collect::<std::result::Result<Vec<_>, SafeTensorError>>();
    Ok(views.and_then(|v| safetensors::serialize(v, file.metadata)).unwrap_or_default())
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let pairs = (0..text.len()).step_by(2);
    Ok(pairs.map(|i| u8::from_str_radix(&text[i..i + 2], 16)).collect::<std::result::Result<_, _>>()?)
}

fn time(file: &[u8], question: &str) -> Result<Vec<u8>> {
    let (what, runs) = question.split_once(' ').ok_or("no number of runs")?;
    let runs: usize = runs.parse()?;
    let nanoseconds = match what {
        "deserialize" => median(runs, || {
            let start = Instant::now();
            let tensors = black_box(SafeTensors::deserialize(black_box(file)));
            let elapsed = start.elapsed();
            tensors.map(|_| elapsed.as_nanos() as f64)
        }),
        "tensor" => {
            let tensors = SafeTensors::deserialize(file)?;
            let mut names = tensors.names();
            names.sort();
            median(runs, || {
                let start = Instant::now();
                for name in &names {
                    black_box(tensors.tensor(black_box(name))?);
                }
                Ok(start.elapsed().as_nanos() as f64 / names.len() as f64)
            })
        }
        _ => return Err(format!("cannot time {what}").into()),
    }?;
    Ok(format!("{nanoseconds:.1}").into_bytes())
}

fn median<E>(runs: usize, run: impl FnMut() -> std::result::Result<f64, E>) -> std::result::Result<f64, E> {
    let mut times = std::iter::repeat_with(run).take(runs.max(1)).collect::<std::result::Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
