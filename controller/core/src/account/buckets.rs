//! AWS's own buckets, which agents and patches need (Systems Manager, "SSM Agent communications with AWS managed S3
//! buckets" and "S3 buckets for patching operations"). Their names end in what cannot be computed.

/// The end of the names of a region's patch buckets, and of its snapshot bucket where it has one.
const SUFFIXES: &[(&str, &str, &str)] = &[
    ("us-east-1", "1970c647d", ""),
    ("us-east-2", "552881074", ""),
    ("us-west-1", "8badb4304", ""),
    ("us-west-2", "34d7f99f8", ""),
    ("af-south-1", "bdd5f65a9", "tbxdb5b9"),
    ("ap-east-1", "632356271", ""),
    ("ap-south-1", "cb7c62ff9", ""),
    ("ap-south-2", "32f4b4128", "50209442"),
    ("ap-southeast-1", "7fdfd9ef7", ""),
    ("ap-southeast-2", "17283a275", ""),
    ("ap-southeast-3", "aa48fc462", "be0a3174"),
    ("ap-southeast-4", "01e2c40d3", "dc6f76ce"),
    ("ap-northeast-1", "4849fa78f", ""),
    ("ap-northeast-2", "10467995c", ""),
    ("ap-northeast-3", "67373598a", ""),
    ("ca-central-1", "3148e69e3", ""),
    ("ca-west-1", "9e3a4b2f9", ""),
    ("eu-central-1", "9163fdaaf", ""),
    ("eu-central-2", "184ce43c8", ""),
    ("eu-west-1", "5522fb710", ""),
    ("eu-west-2", "902a2bc74", ""),
    ("eu-west-3", "29bf85721", ""),
    ("eu-south-1", "c52f3f594", ""),
    ("eu-south-2", "a4cf248b1", "df2c9d70"),
    ("eu-north-1", "795879e9b", ""),
    ("il-central-1", "e221cb57b", ""),
    ("me-south-1", "a53fc9dce", "uduvl7q8"),
    ("me-central-1", "2932f2f80", ""),
    ("sa-east-1", "ddf4b6a09", ""),
];

/// The names of AWS's buckets of a region; none where AWS does not publish them.
#[must_use]
pub fn buckets(region: &str) -> Option<Vec<String>> {
    let (_, patches, snapshots) = SUFFIXES.iter().find(|(known, _, _)| *known == region)?;
    let snapshots = if snapshots.is_empty() { String::new() } else { format!("-{snapshots}") };
    Some(vec![
        format!("aws-windows-downloads-{region}"),
        format!("amazon-ssm-{region}"),
        format!("aws-ssm-{region}"),
        // In the older regions one of these two; which is not said.
        format!("{region}-birdwatcher-prod"),
        format!("aws-ssm-distributor-file-{region}"),
        format!("aws-ssm-document-attachments-{region}"),
        format!("amazon-ssm-packages-{region}"),
        format!("patch-baseline-snapshot-{region}{snapshots}"),
        format!("aws-patch-manager-{region}-{patches}"),
        format!("aws-patchmanager-macos-{region}-{patches}"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_whole_and_only_where_they_are_known() {
        let ireland = buckets("eu-west-1").unwrap();
        assert!(ireland.contains(&"patch-baseline-snapshot-eu-west-1".to_owned()), "{ireland:?}");
        assert!(ireland.contains(&"aws-patch-manager-eu-west-1-5522fb710".to_owned()), "{ireland:?}");
        let bahrain = buckets("me-south-1").unwrap();
        assert!(bahrain.contains(&"patch-baseline-snapshot-me-south-1-uduvl7q8".to_owned()), "{bahrain:?}");
        for unknown in ["ap-southeast-5", "cn-north-1", "us-gov-west-1", ""] {
            assert_eq!(buckets(unknown), None, "{unknown}");
        }
        for (region, suffix, _) in SUFFIXES {
            assert!(suffix.len() == 9 && suffix.bytes().all(|b| b.is_ascii_hexdigit()), "{region}");
            let all = buckets(region).unwrap();
            assert!(all.iter().all(|name| !name.contains('*') && name.contains(region) && name.len() <= 63), "{all:?}");
        }
    }
}
