using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("NpcEngine.Core.Tests")]
